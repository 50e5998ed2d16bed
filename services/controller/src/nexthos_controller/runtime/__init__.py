"""What the process is, and what it has whether it leads or stands by."""
