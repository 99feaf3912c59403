"""The Python API: what `import vaelab` offers."""
