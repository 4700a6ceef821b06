"""The envelope: values to JSON and back."""
