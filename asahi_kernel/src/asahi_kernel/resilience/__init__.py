"""What keeps one failing part from becoming everybody's failure."""
