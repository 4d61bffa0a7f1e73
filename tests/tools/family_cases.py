"""Tiny configs and conditions that tests of several files load."""

from __future__ import annotations

MASS = {"kind": "class", "classes": ["malignant", "benign"], "required": False}
PLANE = {"kind": "class", "classes": ["axial", "coronal", "sagittal"]}
DENOISER = {
    "in_channels": 1, "out_channels": 2, "model_channels": 32, "channel_mult": [1, 1], "num_res_blocks": 1,
    "attention_resolutions": [2],
}  # fmt: skip
QUIET = {"num_train_timesteps": 20, "beta_end": 0.2, "prediction_type": "v_prediction", "clip_sample": False}
GUIDED = {"improved": DENOISER | {"num_classes": 4}, "size": [16, 16], "schedule": QUIET}
VAE = {"latent": 6, "width": 4, "channels": 4, "image_size": 16, "blocks": 1}
VQVAE = {
    "width": 4, "channels": 1, "image_size": 16, "classes": 2, "downs": 2, "codes": 9, "code_dim": 5, "prior_width": 8,
    "prior_layers": 2, "temperature": 0.8, "top_k": 7,
}  # fmt: skip
