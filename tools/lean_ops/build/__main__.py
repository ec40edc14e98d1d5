"""``python -m lean_ops.build``: build everything that Terraform deploys to Lambda (``building``)."""

import sys

from lean_ops.build.building import main

sys.exit(main())
