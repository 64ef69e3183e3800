"""How well asahi-guard finds what it looks for."""
