"""What this host's services count and measure: added up, shown on a page, sent home."""
