"""Diffusion as pure functions: noise schedules, samplers, and the U-Net."""
