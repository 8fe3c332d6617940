"""Adapters to the libraries that people use, one small file each; `peer` holds what they share.

They compare libraries with this package's solvers through one interface. A library is imported when
a fit begins, so that an adapter can be looked at where its library is missing; PyTorch, with the
module. No library has this
package's objective: `Peer.minimised` states what each minimises instead.
"""
