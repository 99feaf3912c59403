"""The Chinese texts of the report by their English texts, which the code and templates contain."""
# ruff: noqa: RUF001 - Chinese text has full-width punctuation

from collections.abc import Mapping

from vaelab.runtime.language import TO_ENGLISH, Translate, make_translator

CHINESE: Mapping[str, str] = {
    "en": "zh-CN",  # the attribute lang of the page
    # page
    "vaelab run": "vaelab 训练",
    "vaelab multirun": "vaelab 批量训练",
    "copy": "复制",
    "copied": "已复制",
    "not allowed": "无法复制",
    "No result: {reason}": "没有结果：{reason}",
    "Values in nats are sums over pixels and latent dimensions, and means over images.": (
        "以 nats 为单位的数值对像素和隐变量维度求和，对图像取平均。"
    ),
    "↑ higher is better, ↓ lower is better.": "↑ 越高越好，↓ 越低越好。",
    "higher is better": "越高越好",
    "lower is better": "越低越好",
    "Hold Ctrl and turn the mouse wheel to zoom into a chart, drag to move it, double-click to "
    "reset it.": "按住 Ctrl 并滚动鼠标滚轮可缩放图表，拖动可移动，双击可复位。",
    # model
    "Model": "模型",
    "Diagram of the model": "模型结构图",
    "encoder": "编码器",
    "posterior q(z|x)": "后验 q(z|x)",
    "prior p(z)": "先验 p(z)",
    "decoder": "解码器",
    "likelihood p(x|z)": "似然 p(x|z)",
    "weight of the KL": "KL 权重",
    "objective": "目标函数",
    "KL(q(z|x) || p(z)), weighted": "KL(q(z|x) || p(z))，加权",
    "{count} parameter": "{count} 个参数",
    "{count} parameters": "{count} 个参数",
    "Trained with {training}.": "训练设置：{training}。",
    "{optimizer}, learning rate {lr}": "{optimizer}，学习率 {lr}",
    "schedule {schedule}": "学习率调度 {schedule}",
    "batches of {size} from {data}": "批大小 {size}，数据集 {data}",
    "Boxes that differ among the jobs are highlighted.": "各次训练之间不同的部件已突出显示。",
    # data
    "Data": "数据",
    "images": "图像",
    "train": "训练",
    "val": "验证",
    "test": "测试",
    "shape": "形状",
    "pixels": "像素",
    "labels": "标签",
    "read as": "读取方式",
    "{pixels} in [{low}, {high}]": "{pixels}，取值范围 [{low}, {high}]",
    "of {examined} examined": "检查的 {examined} 个中",
    "{constant} constant, {duplicates} equal to an earlier one; {shared} test images are equal to "
    "one of them": "{constant} 个为常数，{duplicates} 个与之前的重复；"
    "{shared} 幅测试图像与其中之一相同",
    "binary": "二值",
    "levels": "256 级",
    "dequantized": "去量化",
    "real": "实数",
    "count": "计数",
    "mixed": "混合类型",
    "grey": "灰度",
    "the labels": "标签",
    # curves
    "Curves": "曲线",
    "training": "训练",
    "validation": "验证",
    "step": "步数",
    "optimizer steps": "优化器步数",
    "optimizer steps, the first ones outside the frame": "优化器步数，最初几步超出图框",
    "{metric} by optimizer step": "{metric} 随优化器步数的变化",
    "Training values are those of single batches. Validation values are means over the validation "
    "images.": "训练值是单个批次的值。验证值是全部验证图像的平均值。",
    "No curves: metrics.csv is missing or empty. Train with logger=csv to write it.": (
        "没有曲线：metrics.csv 不存在或为空。用 logger=csv 训练即可写入该文件。"
    ),
    # verdicts
    ".": "。",
    " or ": " 或 ",
    "non-finite metrics: {names}. The training diverged: lower optimizer.lr": (
        "指标不是有限值：{names}。训练已发散：请减小 optimizer.lr"
    ),
    "try {remedies}": "请尝试 {remedies}",
    "a smaller kl.beta": "更小的 kl.beta",
    "a larger optimizer.lr": "更大的 optimizer.lr",
    "{count} active latent dimension": "{count} 个活跃的隐变量维度",
    "{count} active latent dimensions": "{count} 个活跃的隐变量维度",
    "posterior collapse ({facts}): the decoder generates almost the same x for all latents: "
    "{remedies}": "后验坍缩（{facts}）：解码器对所有隐变量生成几乎相同的 x：{remedies}",
    "samples of p(z) are unusable: KL(q(z) || p(z)) is at least {distance:.4g} nats, so the "
    "decoder was not trained on them: sample with sampler=gmm": (
        "p(z) 的样本不可用：KL(q(z) || p(z)) 至少为 {distance:.4g} nats，"
        "解码器没有在这样的样本上训练过：请用 sampler=gmm 采样"
    ),
    ", or train with a larger kl.beta": "，或用更大的 kl.beta 训练",
    "the KL weighs {weight:.3g} times as much as with the scale of the errors, which blurs": (
        "KL 的权重是尺度等于误差时的 {weight:.3g} 倍，图像会模糊"
    ),
    "the KL weighs only {weight:.2g} times as much as with the scale of the errors, and the "
    "density is far below its best value": (
        "KL 的权重只有尺度等于误差时的 {weight:.2g} 倍，密度远低于其最优值"
    ),
    "the decoder scale {scale:.3g} is {ratio:.2g} times the RMSE {rmse:.3g}: {effect}: "
    "set loss.scale=learned, or loss.scale={rmse:.2g}": (
        "解码器的尺度 {scale:.3g} 是 RMSE {rmse:.3g} 的 {ratio:.2g} 倍：{effect}："
        "请设置 loss.scale=learned 或 loss.scale={rmse:.2g}"
    ),
    "the decoder scale has reached its floor of {floor:.3g}, and the floor determines the "
    "density: do not compare it with other runs": (
        "解码器的尺度已达到下限 {floor:.3g}，密度由下限决定：请勿与其他训练比较"
    ),
    ", or set {remedy}": "，或设置 {remedy}",
    "the mutual information {information:.2f} is at its limit ln N = {limit:.2f}: the latents "
    "distinguish all images, and what exceeds ln N of the KL {kl:.2f} is counted as "
    "KL(q(z) || p(z))": (
        "互信息 {information:.2f} 已达到上限 ln N = {limit:.2f}：隐变量能区分所有图像，"
        "KL {kl:.2f} 超出 ln N 的部分计入 KL(q(z) || p(z))"
    ),
    "the total correlation {correlation:.2g} is an estimate from one sample per image, whose "
    "noise may make it negative; the exact one is not": (
        "总相关 {correlation:.2g} 由每幅图像一个样本估计，噪声可能使其为负；精确值不会为负"
    ),
    # images
    "Figures": "图",
    "There are no figures in figures/.": "figures/ 中没有图。",
    "Left out, because they are too large for one page or cannot be read:": (
        "以下图像太大或无法读取，因此未显示："
    ),
    "Validation images, each row above the row of its reconstructions": (
        "验证图像，每行下方是对应的重构"
    ),
    "Means of p(x|z) for latents z sampled from the prior": "从先验采样 z 后 p(x|z) 的均值",
    "Latent traversals: one latent dimension changes, the others are fixed": (
        "隐变量遍历：改变一个隐变量维度，其余保持不变"
    ),
    "Interpolations between the latents of two images": "两幅图像的隐变量之间的插值",
    "The latents of images, coloured by label": "图像的隐变量，按标签着色",
    "The aggregate posterior q(z) against the prior p(z)": "聚合后验 q(z) 与先验 p(z) 的比较",
    "Test images with more and more layers fixed from the top, and the KL of each layer": (
        "自上而下逐层固定隐变量时的测试图像，以及每层的 KL"
    ),
    "KL of each latent dimension by epoch": "每个隐变量维度的 KL 随 epoch 的变化",
    "The first test rows, with their reconstructions below the values": (
        "前几个测试数据行，数值下方是对应的重构"
    ),
    "The distribution of each column in training rows and in samples of the model": (
        "训练数据行和模型样本中每一列的分布"
    ),
    "Columns against each other, in training rows and in samples of the model": (
        "训练数据行和模型样本中各列两两之间的关系"
    ),
    "Samples, each row above the row of the nearest training images": (
        "样本，每行下方是最近的训练图像"
    ),
    "ELBO, reconstruction and KL by optimizer step": "ELBO、重构项和 KL 随优化器步数的变化",
    # metrics
    "Metrics": "指标",
    "Evaluations": "评估",
    "value": "数值",
    "unit": "单位",
    "meaning": "含义",
    "{images:,} {split} images": "{images:,} 幅{split}图像",
    "{images:,} random images of {every:,} {split} images": (
        "{every:,} 幅{split}图像中随机选取的 {images:,} 幅"
    ),
    "{images}, ": "{images}，",
    "{pixels} values in {shape} columns.": "{pixels}数值，{shape} 列。",
    "{pixels} pixels of {shape}.": "{pixels}像素，形状 {shape}。",
    "All numbers are conditional on {condition}.": "所有数值都以{condition}为条件。",
    "log p(x) is a log probability of discrete pixels.": "log p(x) 是离散像素的对数概率。",
    "log p(x) is a log density: it may be positive, and it is comparable only for the same kind of "
    "pixels.": "log p(x) 是对数密度：它可以为正，并且只能在同一种像素之间比较。",
    "The Bernoulli likelihood treats grayscale pixels as probabilities and is not normalised: "
    "there is no NLL, and the ELBO is comparable only between runs with this loss.": (
        "伯努利似然把灰度像素当作概率，没有归一化：因此没有 NLL，"
        "ELBO 只能在使用该损失的训练之间比较。"
    ),
    " {samples} importance samples; ± is the standard error over the data.": (
        "使用 {samples} 个重要性样本；± 是对数据的标准误差。"
    ),
    "of {count} dimensions": "共 {count} 维",
    "The weights are those of best.ckpt, saved at step {step} of {steps}.": (
        "权重来自 best.ckpt，在 {steps} 步中的第 {step} 步保存。"
    ),
    "The binary pixels were sampled once; SHA-256": "二值像素只采样一次；SHA-256",
    "KL by latent dimension": "每个隐变量维度的 KL",
    "in descending order": "降序排列",
    "KL of each latent dimension in descending order": "每个隐变量维度的 KL，降序排列",
    "latent dimension": "隐变量维度",
    "KL in nats": "KL（nats）",
    # settings and provenance
    "Settings": "设置",
    "Overrides of the command line are highlighted:": "命令行中的设置已突出显示：",
    "none": "无",
    "Provenance": "来源",
    "seed": "随机种子",
    "parameters": "参数量",
    "versions": "版本",
    "command": "命令",
    "working directory": "工作目录",
    ", with uncommitted changes: the commit alone does not reproduce the run": (
        "，含未提交的修改：仅凭该提交无法复现这次训练"
    ),
    "not in a repository": "不在仓库中",
    "{epochs} epochs, {steps} steps, {time}": "{epochs} 个 epoch，{steps} 步，{time}",
    "; relative paths, including VAELAB_DATA, are resolved from here": (
        "；相对路径（包括 VAELAB_DATA）从这里开始解析"
    ),
    "Full config": "完整配置",
    # multirun
    "Jobs": "各次训练",
    "{count} jobs": "{count} 次训练",
    ", {count} of them failed": "，其中 {count} 次失败",
    ". Only jobs with the same likelihood, data, kind of pixels and monitored metric are ranked "
    "against each other.": "。只有似然、数据、像素类型和监控指标都相同的训练才会一起排名。",
    "Table as csv:": "csv 格式的表格：",
    "Posterior collapse in {collapsed} of {count} jobs ({names}): the latents carry almost no "
    "information about the images.": "{count} 次训练中有 {collapsed} 次发生后验坍缩（{names}）："
    "隐变量几乎不含图像的信息。",
    "rank": "排名",
    "job": "训练",
    "failed": "失败",
    "{group}, ranked by {metric}": "{group}，按 {metric} 排名",
    "{loss} on {pixels} pixels of {data} ({measure})": (
        "{loss}，{data} 的{pixels}像素（{measure}）"
    ),
    "probability": "概率",
    "posterior collapse": "后验坍缩",
    "collapsed": "坍缩",
    "Click a column title to sort within each group.": "点击列标题可在每组内排序。",
    "The NLL is shown with its standard error over images. “copy” copies the command that repeats "
    "the job.": "NLL 附有对图像的标准误差。“复制”会复制重复该次训练的命令。",
    "Means over seeds": "随机种子平均",
    "seeds": "随机种子",
    "Mean ± standard error over seeds, which is the sample standard deviation divided by √n. "
    "Failed jobs are left out.": (
        "对随机种子的平均值 ± 标准误差，即样本标准差除以 √n。不含失败的训练。"
    ),
    "Comparison": "比较",
    "settings": "设置",
    "one line per job, stronger lines are better; click a value to highlight its jobs": (
        "每次训练一条线，颜色越深越好；点击某个值可突出显示对应的训练"
    ),
    "Parallel coordinates of the settings and the metric, with a line for each job": (
        "设置与指标的平行坐标图，每次训练一条线"
    ),
    "Rate and distortion": "率与失真",
    "test images; lines of equal ELBO": "测试图像；虚线上 ELBO 相等",
    "KL against reconstruction of each job, with lines of equal ELBO": (
        "每次训练的 KL 与重构项，以及 ELBO 的等值线"
    ),
    "Figures side by side": "图的对比",
    "{count} figures do not fit on this page. They are in the reports of the jobs.": (
        "本页放不下 {count} 幅图。它们在各次训练的报告中。"
    ),
    " with uncommitted changes": "（含未提交的修改）",
    ". The jobs ran on different code.": "。各次训练使用的代码不同。",
    # units of metrics
    "nats per image": "nats/图像",
    "nats": "nats",
    "observed values": "观测值",
    "of all": "占全部",
    "The fraction of observed values; the others are missing.": "观测值所占的比例；其余为缺失值。",
    "NLL of an observed value": "每个观测值的 NLL",
    "The NLL divided by the number of observed values, for data with missing values.": (
        "NLL 除以观测值的个数，用于有缺失值的数据。"
    ),
    "bits": "比特",
    "dimensions": "维",
    "of a pixel": "像素值",
    "dB": "dB",
    "accuracy": "准确率",
    "codes": "个码",
    "layers": "层",
    "per image": "每幅图像",
    "s": "s",
    # names and meanings of metrics
    "validation {name}": "验证 {name}",
    "The value on the validation images, of the weights of best.ckpt.": (
        "best.ckpt 的权重在验证图像上的值。"
    ),
    "KL of layer {layer}": "第 {layer} 层的 KL",
    "The KL of one of several stochastic layers.": "多个随机层中某一层的 KL。",
    "ELBO": "ELBO",
    "The evidence lower bound: minus the reconstruction term, minus the KL with weight 1.": (
        "证据下界：负的重构项减去权重为 1 的 KL。"
    ),
    "ELBO, exact": "ELBO，精确值",
    "The ELBO in closed form, without sampling noise. Only linear VAEs have it.": (
        "闭式的 ELBO，没有采样噪声。只有线性 VAE 才有。"
    ),
    "NLL": "NLL",
    "The negative log-likelihood: minus the importance-weighted bound on log p(x).": (
        "负对数似然：log p(x) 的重要性加权下界的相反数。"
    ),
    "bits/dim": "比特/维",
    "The NLL per pixel and channel, in bits instead of nats.": (
        "每个像素和通道的 NLL，以比特而不是 nats 为单位。"
    ),
    "reconstruction": "重构项",
    "The reconstruction term: -log p(x|z) with z sampled from q(z|x).": (
        "重构项：-log p(x|z)，其中 z 从 q(z|x) 采样。"
    ),
    "KL": "KL",
    "KL(q(z|x) || p(z)): how far the posterior of an image is from the prior.": (
        "KL(q(z|x) || p(z))：图像的后验与先验的距离。"
    ),
    "active units": "活跃单元",
    "The number of latent dimensions whose posterior mean varies between images.": (
        "后验均值随图像变化的隐变量维度数。"
    ),
    "active layers": "活跃层",
    "The number of stochastic layers whose KL is at least 0.1 nats.": (
        "KL 不小于 0.1 nats 的随机层数。"
    ),
    "KL(q(z) || p(z)), at least": "KL(q(z) || p(z)) 的下界",
    "A lower bound on how far the aggregate posterior q(z) is from the prior, by the mean and "
    "variance of each latent dimension. If it is large, samples of the prior are unusable.": (
        "由每个隐变量维度的均值和方差得到的、聚合后验 q(z) 与先验距离的下界。"
        "如果它很大，从先验得到的样本不可用。"
    ),
    "RMSE": "RMSE",
    "The root mean squared error of the reconstruction from the mode of q(z|x).": (
        "用 q(z|x) 的众数重构时的均方根误差。"
    ),
    "decoder scale": "解码器尺度",
    "The scale parameter of the likelihood p(x|z).": "似然 p(x|z) 的尺度参数。",
    "implied decoder scale": "等效解码器尺度",
    "The decoder scale for which the same loss has a KL of weight 1.": (
        "使同一损失中 KL 的权重为 1 的解码器尺度。"
    ),
    "ELBO, train - test": "ELBO，训练 - 测试",
    "The ELBO of the training images minus that of as many test images. It is 0 without "
    "overfitting.": "训练图像的 ELBO 减去同样数量测试图像的 ELBO。没有过拟合时为 0。",
    "NLL, test - train": "NLL，测试 - 训练",
    "The NLL of the test images minus that of as many training images, both with the same number "
    "of importance samples.": (
        "测试图像的 NLL 减去同样数量训练图像的 NLL，两者使用相同数量的重要性样本。"
    ),
    "mutual information": "互信息",
    "The mutual information of x and z under q(z|x). It is at most ln N for N images.": (
        "q(z|x) 下 x 与 z 的互信息。对 N 幅图像至多为 ln N。"
    ),
    "its limit, ln N": "互信息上限 ln N",
    "The largest mutual information that N images can show.": "N 幅图像能显示的最大互信息。",
    "KL(q(z) || p(z))": "KL(q(z) || p(z))",
    "How far the aggregate posterior q(z), the mixture of all q(z|x), is from the prior.": (
        "聚合后验 q(z)（所有 q(z|x) 的混合）与先验的距离。"
    ),
    "total correlation": "总相关",
    "How strongly the latent dimensions depend on each other under q(z). The noise of the "
    "estimate may make it negative.": "q(z) 下隐变量各维度相互依赖的程度。估计的噪声可能使它为负。",
    "dimension-wise KL": "逐维 KL",
    "How far each latent dimension under q(z) is from the prior, summed over dimensions.": (
        "q(z) 下每个隐变量维度与先验的距离，对维度求和。"
    ),
    "log p(x) by annealing": "退火估计的 log p(x)",
    "A lower bound on log p(x) by annealed importance sampling, which does not use q(z|x).": (
        "由退火重要性采样得到的 log p(x) 的下界，不使用 q(z|x)。"
    ),
    "importance-weighted bound": "重要性加权下界",
    "The importance-weighted lower bound on log p(x) of the same images.": (
        "同一批图像的 log p(x) 的重要性加权下界。"
    ),
    "amortisation gap": "摊销差距",
    "How much higher the ELBO is with the best q of the family for each image than with the "
    "encoder's q.": "对每幅图像使用分布族中最优的 q 时，ELBO 比使用编码器的 q 高多少。",
    "approximation gap": "近似差距",
    "How much lower than log p(x) the ELBO is with the best q of the family for each image.": (
        "对每幅图像使用分布族中最优的 q 时，ELBO 比 log p(x) 低多少。"
    ),
    "PSNR": "PSNR",
    "The peak signal-to-noise ratio of the reconstruction from the mode of q(z|x).": (
        "用 q(z|x) 的众数重构时的峰值信噪比。"
    ),
    "SSIM": "SSIM",
    "The structural similarity of images and reconstructions. It is 1 for identical images.": (
        "图像与重构的结构相似性。图像相同时为 1。"
    ),
    "FID of samples": "样本的 FID",
    "The Fréchet distance between the features of samples and of real images.": (
        "样本特征与真实图像特征之间的 Fréchet 距离。"
    ),
    "FID of reconstructions": "重构的 FID",
    "The Fréchet distance between the features of reconstructions and of real images.": (
        "重构特征与真实图像特征之间的 Fréchet 距离。"
    ),
    "FID of training images": "训练图像的 FID",
    "The Fréchet distance of as many training images: the FID of a perfect model.": (
        "同样数量训练图像的 Fréchet 距离：完美模型的 FID。"
    ),
    "KID of samples": "样本的 KID",
    "The kernel distance between the features of samples and of real images. Unlike the FID it is "
    "not biased by the number of images.": (
        "样本特征与真实图像特征之间的核距离。与 FID 不同，它没有由图像数量引起的偏差。"
    ),
    "precision": "精确率",
    "The fraction of samples that lie among the real images.": "落在真实图像之中的样本比例。",
    "recall": "召回率",
    "The fraction of real images that lie among the samples.": "落在样本之中的真实图像比例。",
    "density": "密度",
    "A precision that is less sensitive to outliers among the real images.": (
        "一种对真实图像中的离群值不太敏感的精确率。"
    ),
    "coverage": "覆盖率",
    "A recall that is less sensitive to outliers among the samples.": (
        "一种对样本中的离群值不太敏感的召回率。"
    ),
    "nearest training image": "最近的训练图像",
    "The mean RMS distance from a sample to the nearest training image.": (
        "样本到最近训练图像的平均均方根距离。"
    ),
    "the same of test images": "测试图像的最近训练图像",
    "The mean RMS distance from a test image to the nearest training image. Samples that copy "
    "training images are much nearer.": (
        "测试图像到最近训练图像的平均均方根距离。复制训练图像的样本会近得多。"
    ),
    "linear probe": "线性探测",
    "The accuracy of a linear classifier that predicts labels from latents.": (
        "用隐变量预测标签的线性分类器的准确率。"
    ),
    "5 nearest neighbours": "5 近邻",
    "The accuracy of predicting the label of the nearest training latents.": (
        "用最近的训练隐变量的标签来预测的准确率。"
    ),
    "clustering": "聚类",
    "The accuracy of k-means clusters of the latents, each matched with one label.": (
        "隐变量的 k-means 聚类准确率，每个簇对应一个标签。"
    ),
    "most frequent label": "最常见的标签",
    "The accuracy of always predicting the most frequent label.": "总是预测最常见标签的准确率。",
    "MIG": "MIG",
    "The mutual information gap: how much more the best latent dimension knows of a factor than "
    "the second best. It lies between 0 and 1.": (
        "互信息差距：最好的隐变量维度比第二好的多包含多少关于因子的信息。取值在 0 和 1 之间。"
    ),
    "SAP": "SAP",
    "The difference in score between the two latent dimensions that predict a factor best.": (
        "预测因子最好的两个隐变量维度的分数之差。"
    ),
    "DCI disentanglement": "DCI 解耦性",
    "It is 1 if each latent dimension predicts only one factor.": (
        "每个隐变量维度只预测一个因子时为 1。"
    ),
    "DCI completeness": "DCI 完整性",
    "It is 1 if each factor is predicted by only one dimension.": (
        "每个因子只由一个维度预测时为 1。"
    ),
    "DCI informativeness": "DCI 信息性",
    "How well all latent dimensions together predict factors.": (
        "所有隐变量维度一起预测因子的好坏。"
    ),
    "FactorVAE score": "FactorVAE 分数",
    "The accuracy of identifying a fixed factor by the latent dimension that varies least.": (
        "用变化最小的隐变量维度识别固定因子的准确率。"
    ),
    "ELBO, train": "ELBO，训练",
    "The ELBO of as many training images as test images.": "与测试图像同样数量的训练图像的 ELBO。",
    "NLL, train": "NLL，训练",
    "The NLL of as many training images as test images.": "与测试图像同样数量的训练图像的 NLL。",
    "criterion": "准则",
    "What training maximises: minus the loss, with the KL term in its final form.": (
        "训练所最大化的量：负的损失，其中 KL 项取最终形式。"
    ),
    "loss": "损失",
    "The loss that the optimizer minimises.": "优化器最小化的损失。",
    "check of the KL": "KL 检验",
    "The mutual information plus KL(q(z) || p(z)) minus the KL. It is 0 up to sampling noise.": (
        "互信息加 KL(q(z) || p(z)) 减 KL。除采样噪声外为 0。"
    ),
    "log p(x|z)": "log p(x|z)",
    "Minus the reconstruction term.": "负的重构项。",
    "What training maximises: minus the loss.": "训练所最大化的量：负的损失。",
    "MMD": "MMD",
    "How far samples of q(z) are from samples of p(z).": "q(z) 的样本与 p(z) 的样本的距离。",
    "discrepancy": "分布差异",
    "DIP penalty": "DIP 惩罚项",
    "The penalty on the covariance of the latents.": "对隐变量协方差的惩罚。",
    "MS-SSIM": "MS-SSIM",
    "The structural similarity of images and means of p(x|z) at 5 sizes.": (
        "图像与 p(x|z) 的均值在 5 个尺寸上的结构相似性。"
    ),
    "size of the latents": "隐变量的大小",
    "Half the squared length of the latents.": "隐变量长度平方的一半。",
    "smoothness": "平滑性",
    "The regularizer of the decoder without its weight.": "解码器的正则项，不含权重。",
    "commitment": "承诺损失",
    "The squared distance from the outputs to their codes.": "编码器输出到对应码的平方距离。",
    "perplexity of the codes": "码的困惑度",
    "How many codes are used, as exp of the entropy.": "使用了多少个码，即熵的指数。",
    "codes in a batch": "批次中的码",
    "The fraction of the codes in a batch.": "一个批次中出现的码的比例。",
    "codebook loss": "码本损失",
    "The loss that trains the codes or their use.": "训练码或其使用率的损失。",
    "bits per code": "每个码的比特数",
    "Minus log2 p of the codes, divided by their number.": "码的 -log2 p 除以码的个数。",
    "feature distance": "特征距离",
    "Minus the log likelihood of the features that the critic computes.": (
        "判别器计算的特征的负对数似然。"
    ),
    "perceptual distance": "感知距离",
    "The distance of images and means of p(x|z) in the features of a classifier, times the number "
    "of pixel values.": "图像与 p(x|z) 的均值在分类器特征中的距离，乘以像素值的个数。",
    "adaptive weight": "自适应权重",
    "The norm of the reconstruction's gradient by the last layer, divided by the norm of the "
    "critic's.": "重构项对最后一层的梯度范数，除以判别器项的梯度范数。",
    "generator loss": "生成器损失",
    "The loss of the part that is judged by the critic.": "由判别器评判的部分的损失。",
    "critic loss": "判别器损失",
    "The loss of the critic or discriminator.": "判别器的损失。",
    "The number of evaluated images.": "评估的图像数量。",
    "importance samples": "重要性样本",
    "The importance samples of the NLL.": "估计 NLL 的重要性样本。",
    "images of the gaps": "泛化差距的图像",
    "The training and test images of the ELBO and NLL gaps.": (
        "计算 ELBO 和 NLL 差距的训练与测试图像。"
    ),
    "samples of the gaps": "泛化差距的样本",
    "The importance samples of the NLL gap.": "估计 NLL 差距的重要性样本。",
    "images of the latents": "隐变量指标的图像",
    "The images of the mutual information and its relatives.": "计算互信息及相关指标的图像。",
    "images of the FID": "FID 的图像",
    "The number of compared real images, and of samples.": "比较的真实图像数量，也是样本数量。",
    "images of the classifiers": "分类器的图像",
    "The training images of the classifiers of latents.": "隐变量分类器的训练图像。",
    "images of the annealing": "退火的图像",
    "The images of the annealed importance sampling.": "退火重要性采样的图像。",
    "skipped steps": "跳过的步数",
    "Optimizer steps with NaN or infinity that were skipped.": (
        "因出现 NaN 或无穷大而跳过的优化器步数。"
    ),
    "restored weights": "恢复权重的次数",
    "How often earlier weights replaced those with NaN.": "用较早的权重替换含 NaN 的权重的次数。",
    "The weight of the KL in the loss.": "损失中 KL 的权重。",
    "learning rate": "学习率",
    "The learning rate of the optimizer.": "优化器的学习率。",
    "The best value on the validation images of the metric that the objective monitors.": (
        "目标函数所监控的指标在验证图像上的最优值。"
    ),
    "time": "时间",
    "The wall-clock time of the training.": "训练的实际用时。",
}

TRANSLATORS: Mapping[str, Translate] = {"en": TO_ENGLISH, "zh": make_translator(CHINESE)}
