// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace mirage {

// Why the CUDA runtime of this binary cannot use the GPUs here, with the driver's version and its own; empty where it
// can. probe.cu sets it: a binary without CUDA kernels has none.
inline std::string (*cuda_problem)() = nullptr;

}  // namespace mirage
