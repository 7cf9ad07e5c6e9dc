"""What comes from elsewhere: base images' configurations, files from addresses, git repositories, each cached by hash."""
