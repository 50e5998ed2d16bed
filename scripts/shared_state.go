// Lists what an engine keeps once for its process: package-level variables, in all packages that it is
// linked from, which something writes to after they were initialised.
//
//	cd engine && go run ../scripts/shared_state.go
//
// One a line: import path, a dot, the name. It reads sources and knows no types: a variable is listed if a
// function assigns to it or to a part of it, takes its address, or calls a method of it
// whose name is that of a change (Lock, Store, Set, Register...). What an init does itself is done once, and
// is left out, but not what the functions do that it makes: what they keep in a variable of that init is
// listed as init.NAME. What Go's own standard library keeps is left out. The fields of the few objects that
// streams mode makes once are listed as Type.field, whatever writes to them. shared_state.judged says of each hit what follows from it for streams that share an engine.
package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
)

type pkg struct {
	Dir        string
	ImportPath string
	Name       string
	Standard   bool
	GoFiles    []string
	Imports    []string
}

var once = map[string]bool{
	"github.com/warpstreamlabs/bento/internal/api.Type":                true,
	"github.com/warpstreamlabs/bento/internal/impl/prometheus.Metrics": true,
	"github.com/warpstreamlabs/bento/internal/manager.Type":            true,
	"github.com/warpstreamlabs/bento/internal/stream/manager.Type":     true,
}

var changes = regexp.MustCompile(`^(Lock|RLock|Store|LoadOrStore|LoadAndDelete|Swap|CompareAndSwap|Delete|Do|Set|Put|Get|Add|Inc|Register|Must|Push|Append|Write|Reset|Clear|Close|Init|Seed|Insert|Remove|Update)`)

func main() {
	files := token.NewFileSet()
	names := map[string]map[string]bool{} // variables of each package
	parsed := map[string][]*ast.File{}
	byPath := map[string]pkg{}
	for _, p := range listed() {
		if p.Standard {
			continue
		}
		byPath[p.ImportPath] = p
		names[p.ImportPath] = map[string]bool{}
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			check(err)
			parsed[p.ImportPath] = append(parsed[p.ImportPath], file)
			for _, declared := range variables(file) {
				names[p.ImportPath][declared] = true
			}
		}
	}
	hits := map[string]bool{}
	for path, list := range parsed {
		for _, file := range list {
			imported := aliases(file, byPath)
			for _, field := range fields(path, file) {
				hits[path+"."+field] = true
			}
			for _, declaration := range file.Decls {
				note := func(inits map[string]bool) func(string, string) {
					return func(qualifier, name string) {
						owner := path
						if qualifier != "" {
							owner = imported[qualifier]
						}
						if qualifier == "" && inits[name] {
							hits[owner+".init."+name] = true
						} else if names[owner][name] {
							hits[owner+"."+name] = true
						}
					}
				}
				function, ok := declaration.(*ast.FuncDecl)
				if ok && function.Body != nil && (function.Recv != nil || function.Name.Name != "init") {
					written(function, function.Body, note(nil))
					continue
				}
				for _, made := range literals(declaration) {
					written(made, made.Body, note(declaredOutside(declaration)))
				}
			}
		}
	}
	sorted := make([]string, 0, len(hits))
	for hit := range hits {
		sorted = append(sorted, hit)
	}
	sort.Strings(sorted)
	for _, hit := range sorted {
		fmt.Println(hit)
	}
}

// listed is every package that the one in this folder is linked from.
func listed() (found []pkg) {
	command := exec.Command("go", "list", "-deps", "-json=Dir,ImportPath,Name,Standard,GoFiles,Imports", ".")
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	check(err)
	check(command.Start())
	decoder := json.NewDecoder(out)
	for {
		var one pkg
		err := decoder.Decode(&one)
		if err == io.EOF {
			break
		}
		check(err)
		found = append(found, one)
	}
	check(command.Wait())
	return found
}

func variables(file *ast.File) (found []string) {
	for _, declaration := range file.Decls {
		if general, ok := declaration.(*ast.GenDecl); ok && general.Tok == token.VAR {
			for _, spec := range general.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if name.Name != "_" {
						found = append(found, name.Name)
					}
				}
			}
		}
	}
	return found
}

func fields(path string, file *ast.File) (found []string) {
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.TypeSpec)
		if !ok || !once[path+"."+spec.Name.Name] {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			for _, name := range field.Names {
				found = append(found, spec.Name.Name+"."+name.Name)
			}
		}
		return false
	})
	return found
}

// aliases says which package each qualifier of a file stands for.
func aliases(file *ast.File, byPath map[string]pkg) map[string]string {
	found := map[string]string{}
	for _, spec := range file.Imports {
		path := spec.Path.Value[1 : len(spec.Path.Value)-1]
		if spec.Name != nil {
			found[spec.Name.Name] = path
		} else if p, ok := byPath[path]; ok {
			found[p.Name] = path
		}
	}
	return found
}

// written calls `hit` with the root of everything that a function changes and has not declared itself.
func written(function ast.Node, body ast.Node, hit func(qualifier, name string)) {
	local := declared(function)
	root := func(expression ast.Expr) {
		for {
			switch e := expression.(type) {
			case *ast.ParenExpr:
				expression = e.X
			case *ast.StarExpr:
				expression = e.X
			case *ast.IndexExpr:
				expression = e.X
			case *ast.SliceExpr:
				expression = e.X
			case *ast.SelectorExpr:
				if qualifier, ok := e.X.(*ast.Ident); ok && !local[qualifier.Name] {
					hit(qualifier.Name, e.Sel.Name)
				}
				expression = e.X
			case *ast.Ident:
				if !local[e.Name] {
					hit("", e.Name)
				}
				return
			default:
				return
			}
		}
	}
	ast.Inspect(body, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, left := range n.Lhs {
					root(left)
				}
			}
		case *ast.IncDecStmt:
			root(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				root(n.X)
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && (name.Name == "delete" || name.Name == "clear" || name.Name == "copy") && len(n.Args) > 0 {
				root(n.Args[0])
			}
			if method, ok := n.Fun.(*ast.SelectorExpr); ok && changes.MatchString(method.Sel.Name) {
				root(method.X)
			}
		}
		return true
	})
}

// literals is every function that a declaration makes, outermost only.
func literals(declaration ast.Node) (found []*ast.FuncLit) {
	ast.Inspect(declaration, func(node ast.Node) bool {
		made, ok := node.(*ast.FuncLit)
		if ok {
			found = append(found, made)
		}
		return !ok
	})
	return found
}

// declared is every name that a function gives to something of its own.
func declared(function ast.Node) map[string]bool {
	found := map[string]bool{}
	ast.Inspect(function, func(node ast.Node) bool {
		note(node, found)
		return true
	})
	return found
}

// declaredOutside is the same without what the functions in it declare.
func declaredOutside(declaration ast.Node) map[string]bool {
	found := map[string]bool{}
	if _, ok := declaration.(*ast.FuncDecl); ok {
		ast.Inspect(declaration, func(node ast.Node) bool {
			if _, ok := node.(*ast.FuncLit); ok {
				return false
			}
			note(node, found)
			return true
		})
	}
	return found
}

func note(node ast.Node, found map[string]bool) {
	switch n := node.(type) {
	case *ast.Field:
		for _, name := range n.Names {
			found[name.Name] = true
		}
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE {
			for _, left := range n.Lhs {
				if name, ok := left.(*ast.Ident); ok {
					found[name.Name] = true
				}
			}
		}
	case *ast.RangeStmt:
		if n.Tok == token.DEFINE {
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if name, ok := e.(*ast.Ident); ok {
					found[name.Name] = true
				}
			}
		}
	case *ast.ValueSpec:
		for _, name := range n.Names {
			found[name.Name] = true
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
