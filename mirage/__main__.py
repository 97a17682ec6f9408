# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
