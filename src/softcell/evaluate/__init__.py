"""How good are stored weights: tasks, trials, statistics, bounds."""
