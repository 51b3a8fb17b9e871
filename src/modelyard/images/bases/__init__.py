"""What an image stands on in a container: made from this host, or taken from elsewhere."""
