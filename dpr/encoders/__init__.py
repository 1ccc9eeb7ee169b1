"""From text to vectors: the dual encoder, its pooling, and how it is loaded and saved."""
