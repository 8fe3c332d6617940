"""What several solvers share: threads, interrupts, sorting, and the products of torch."""
