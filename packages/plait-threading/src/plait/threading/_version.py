# SPDX-License-Identifier: MIT
"""The version of this distribution, as a literal: a copied folder still knows it."""

__version__ = "0.1.0"
