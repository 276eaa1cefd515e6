// Package house holds the rules of this repository as tests: who may import whom, what only one package may do, and what no file may hold.
package house
