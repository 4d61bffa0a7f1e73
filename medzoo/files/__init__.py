"""What lies on a disk: the cache, kinds of files, whole-file writing, locks."""
