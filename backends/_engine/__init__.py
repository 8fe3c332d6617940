"""What solvers run on: threads, tasks, interrupts, sorted ratings, products in torch. Private."""
