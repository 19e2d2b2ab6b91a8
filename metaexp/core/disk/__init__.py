"""Files that a crash leaves whole, locks, the errors of disks, and the folder of one user."""
