"""Export of networks to SavedModel folders, a server and a client that speak TensorFlow Serving's protocol."""
