# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for functions of other world models, with the names, arguments and conventions of the originals.

One module per project: :mod:`~mirage_kernels.compat.latent_spatial_memory`, :mod:`~mirage_kernels.compat.gen3c`,
:mod:`~mirage_kernels.compat.spatia`, :mod:`~mirage_kernels.compat.voyager`, :mod:`~mirage_kernels.compat.pytorch3d`,
:mod:`~mirage_kernels.compat.honeycomb` and :mod:`~mirage_kernels.compat.pose_bank`. The docstring of a module says
which two lines to change, what becomes faster, and what differs. They need torch alone, and use public names of
:mod:`mirage_kernels` only.
"""
