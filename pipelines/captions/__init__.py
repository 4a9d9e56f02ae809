"""What a caption is made of: its text, what in it is boilerplate, and its language."""
