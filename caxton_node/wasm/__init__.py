"""Guests in WebAssembly: checked, compiled, run within limits, granted what they may ask for."""
