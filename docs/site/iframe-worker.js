// A browser starts no worker from file://; there the search runs in a hidden frame of this page.
// Its script looks for the name IFrameWorker to know where it is.
if (location.protocol === "file:") {
  window.Worker = window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "<!doctype html>";
      const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
      document.documentElement.append(frame);
      this.inside = loaded.then(async () => {
        const inside = frame.contentWindow;
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        inside.importScripts = async (...urls) => {
          for (const each of urls) await add(inside.document, each);
        };
        await add(inside.document, url);
        return inside;
      });
    }
    async postMessage(data) {
      const inside = await this.inside;
      inside.dispatchEvent(new inside.MessageEvent("message", { data }));
    }
  };
}

function add(page, url) {
  const script = page.createElement("script");
  script.src = url;
  page.head.append(script);
  return new Promise((resolve) => script.addEventListener("load", resolve));
}
