"""Networks as plain functional Keras models, one file for each."""
