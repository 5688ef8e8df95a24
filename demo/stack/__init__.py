"""What a user does with the running stack of docker-compose.yml: stream, train, predict, look."""
