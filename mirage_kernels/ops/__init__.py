# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations, one folder each. All modules in here are private; ``mirage_kernels`` exports the public names.

Files of an operation: ``<op>.py`` (public functions), ``<op>_operators.py`` (schemas for torch.library and one typed
function per operation), ``<op>_reference.py`` (pure PyTorch), ``<op>_triton.py`` (Triton). The native kernels are in
``csrc/<op>``. A file may import another operation's ``<op>_operators.py``, and nothing else of it.
"""
