// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Every <op>_isa.cpp is compiled once per instruction set, with MIRAGE_ISA naming the namespace its kernels land
// in; <op>_cpu.cpp picks a table of kernels at run time. Those files include no standard library templates, so
// that nothing compiled for a wider instruction set can be linked into code that runs without it.
#if defined(__x86_64__)
#define MIRAGE_EACH_ISA(declare) \
  namespace baseline {           \
  declare;                       \
  }                              \
  namespace avx2 {               \
  declare;                       \
  }                              \
  namespace avx512 {             \
  declare;                       \
  }
#else
#define MIRAGE_EACH_ISA(declare) \
  namespace baseline {           \
  declare;                       \
  }
#endif

namespace mirage {

enum class Isa { kBaseline = 0, kAvx2 = 1, kAvx512 = 2 };

Isa best_isa();             // the widest this machine runs
Isa current_isa();          // the one in use
bool set_isa(Isa request);  // false, and nothing changes, where this machine does not run it

}  // namespace mirage

#if defined(__x86_64__)
#define MIRAGE_KERNELS(table)                                        \
  (::mirage::current_isa() == ::mirage::Isa::kAvx512 ? avx512::table \
   : ::mirage::current_isa() == ::mirage::Isa::kAvx2 ? avx2::table   \
                                                     : baseline::table)
#else
#define MIRAGE_KERNELS(table) (baseline::table)
#endif
