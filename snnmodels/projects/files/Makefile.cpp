# Builds the program in this folder. Needs a C++17 compiler (g++) and make, nothing else.
#
#   make                        build ./main
#   make run                    build, run, write results/
#   make ARCH=-march=native     for the processor at hand, faster; the default runs on any of the family
#   make CXX=g++-13 CXXFLAGS=-g another compiler, more flags

CXX ?= g++
CXXFLAGS ?=
ARCH ?=

OBJS = @objects@
FLAGS = @flags@ -Wno-psabi

.PHONY: all run clean compiler
all: main

main: $(OBJS)
	$(CXX) $(FLAGS) $(OBJS) -o $@ $(LDFLAGS)

run: main
	./main

clean:
	rm -rf main results results.tmp $(OBJS) $(OBJS:.o=.d)

@options@

%.o: src/%.cpp Makefile | compiler
	$(CXX) $(FLAGS) $(HOW) $(ARCH) $(CXXFLAGS) -MMD -c $< -o $@

compiler:
	@command -v $(firstword $(CXX)) >/dev/null || { echo "no C++ compiler $(firstword $(CXX)): install g++, or make CXX=..." >&2; exit 1; }

-include $(OBJS:.o=.d)
