"""What each benchmark compares with: the plainest program that does the same job with the same libraries."""
