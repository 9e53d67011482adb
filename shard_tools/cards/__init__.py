"""What other libraries know a dataset by: a Hugging Face dataset card and Croissant metadata."""
