"""Print the results of the simulation in this folder. Needs Python 3 and no package.

python3 read_results.py              number of spikes of every population
python3 read_results.py NAME         the spikes of one population: time in seconds, neuron
python3 read_results.py NAME STATE   a recorded state variable: time in seconds, one column per neuron, SI base units

project.json says which file of results/ holds what; with NumPy, read a file by numpy.fromfile(file, dtype).
"""

import array
import json
import os
import sys

CODES = {"int32": "i", "int64": "q", "float64": "d", "float32": "f"}
FOLDER = os.path.dirname(os.path.abspath(__file__))


def read(entry):
    """The values of one file of results/."""
    path = os.path.join(FOLDER, "results", entry["file"])
    if not os.path.exists(path):
        sys.exit(f"{path} does not exist: run make run first")
    values = array.array(CODES[entry["dtype"]])
    with open(path, "rb") as file:
        values.frombytes(file.read())
    return values


def main(arguments):
    """Print what the arguments ask for."""
    with open(os.path.join(FOLDER, "project.json")) as file:
        project = json.load(file)
    spikes, states = project["spikes"], project["states"]
    if not arguments:
        for name, monitor in spikes.items():
            print(f"{name}: {len(read(monitor['t']))} spikes of {monitor['n']} neurons")
        for name, monitor in states.items():
            print(f"{name}: {', '.join(monitor['variables'])} of {monitor['n']} neurons")
    elif len(arguments) == 1 and arguments[0] in spikes:
        monitor = spikes[arguments[0]]
        neurons = read(monitor["i"])
        for k, t in enumerate(read(monitor["t"])):
            print(f"{t!r}\t{neurons[k]}")
    elif len(arguments) == 2 and arguments[0] in states and arguments[1] in states[arguments[0]]["variables"]:
        monitor = states[arguments[0]]
        n, values = monitor["n"], read(monitor["variables"][arguments[1]])
        for step, t in enumerate(read(monitor["t"])):
            print("\t".join(repr(x) for x in [t, *values[step * n : (step + 1) * n]]))
    else:
        sys.exit(f"spikes are recorded of: {', '.join(spikes)}; states of: {', '.join(states)}")


if __name__ == "__main__":
    main(sys.argv[1:])
