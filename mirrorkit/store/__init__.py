"""The only room with disk: pairs come in, a frame or a file goes out."""
