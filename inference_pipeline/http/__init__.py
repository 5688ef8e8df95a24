"""What both HTTP faces share: the way of a request from the socket to its route."""
