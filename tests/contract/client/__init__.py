"""The SDK against a real gateway, over both transports."""
