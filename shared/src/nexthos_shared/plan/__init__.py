"""Changes, pure: from what is stored to what a manifest says, field by field, and in words."""
