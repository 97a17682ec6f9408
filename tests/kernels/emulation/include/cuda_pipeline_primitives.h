// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Replaces CUDA's header of this name: its functions are in cuda_emulation.h, which is included first.
