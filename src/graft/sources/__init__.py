"""Sources, one file a family of pretrained models; the file is the option."""
