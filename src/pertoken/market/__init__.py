"""What vendors charge, against what it costs."""
