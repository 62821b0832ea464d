# SPDX-License-Identifier: Apache-2.0
"""What `make plan`, `coverage`, `prove`, `mutate`, `soak` and `signoff` are made of."""
