"""WGAN-GP (Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017) with a DCGAN generator.

The gradient penalty is a matter of training: the generators published under this name are those of
:mod:`medzoo.families.dcgan`, never conditional.
"""

from __future__ import annotations

from medzoo.families import dcgan


class WganGp(dcgan.DCGAN):
    """Latents N(0, 1) -> tanh."""
