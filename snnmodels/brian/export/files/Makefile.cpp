# Builds the simulation in this folder. Needs a C++17 compiler and make, nothing else.
#
#   make                            build ./main
#   make run                        build, run, write results/
#   make ARCH=-march=x86-64-v3      for a known kind of processor; the default runs on any
#   make CXX=clang++ CXXFLAGS=-O2   another compiler, other optimisation

CXXFLAGS ?= -O3
ARCH ?=

SRCS = \
@sources@

OBJS = $(SRCS:.cpp=.o)
FLAGS = -std=c++17 -w -I. $(CXXFLAGS) $(ARCH)

.PHONY: all run clean
all: main

main: $(OBJS)
	$(CXX) $(OBJS) -o $@ $(LDFLAGS)

run: main
	mkdir -p results
	./main --results_dir results/

clean:
	rm -rf main results $(OBJS) $(OBJS:.o=.d)

%.o: %.cpp Makefile | compiler
	$(CXX) $(FLAGS) -MMD -c $< -o $@

.PHONY: compiler
compiler:
	@command -v $(firstword $(CXX)) >/dev/null || { echo "no C++ compiler $(firstword $(CXX)): install g++, or make CXX=..." >&2; exit 1; }

-include $(OBJS:.o=.d)
