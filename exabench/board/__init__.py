"""The leaderboard: results ranked, and the static site that shows them."""
