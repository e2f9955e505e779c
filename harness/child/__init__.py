"""Programs that run inside another process, by path. They import nothing of harness."""
