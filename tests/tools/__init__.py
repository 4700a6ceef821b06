"""Tools: any process offers them, any other calls them."""
