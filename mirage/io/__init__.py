# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files: images, depth maps, text, video, and folders of pretrained weights."""
