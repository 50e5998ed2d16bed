package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unicode/utf8"
)

const deepest = 8 // of what is nested; the executor's deepest is 5

// readStrictly decodes body into out, a pointer to a struct, and returns out encoded again: that is what may
// be passed on, so that it never matters how somebody else would have read the body.
//
// encoding/json alone takes names in any case, takes a name twice (objects then merge), and leaves what it
// does not know. Here body and the new encoding have to be equal, name for name and value for value.
func readStrictly(body []byte, out any) ([]byte, error) {
	given, err := readTree(body)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(out); err != nil {
		return nil, fmt.Errorf("the body is not what the executor sends: %w", err)
	}
	encoded, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	meant, err := readTree(encoded)
	if err != nil {
		return nil, fmt.Errorf("a field is missing: %w", err)
	}
	if where := difference("", given, meant); where != "" {
		return nil, fmt.Errorf("the body: %s is missing, or not written as the executor writes it", where)
	}
	return encoded, nil
}

// readTree reads one JSON value and no more: no name twice, no null, nothing behind it.
func readTree(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	tree, err := readValue(decoder, deepest)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON of the body")
	}
	return tree, nil
}

func readValue(decoder *json.Decoder, depth int) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, fmt.Errorf("the body is not JSON: %w", err)
	}
	if depth == 0 {
		return nil, errors.New("the body is nested too deeply")
	}
	switch token {
	case json.Delim('{'):
		return readObject(decoder, depth)
	case json.Delim('['):
		return readList(decoder, depth)
	case nil:
		return nil, errors.New("a value is null")
	}
	return token, nil
}

func readObject(decoder *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("the body is not JSON: %w", err)
		}
		name := token.(string) // the decoder takes nothing else here
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("%s is there twice", shown(name))
		}
		if object[name], err = readValue(decoder, depth-1); err != nil {
			return nil, err
		}
	}
	return object, ended(decoder)
}

func readList(decoder *json.Decoder, depth int) (any, error) {
	list := []any{}
	for decoder.More() {
		value, err := readValue(decoder, depth-1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, ended(decoder)
}

func ended(decoder *json.Decoder) error {
	if _, err := decoder.Token(); err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	return nil
}

// difference names the first place where two trees differ; empty if they are equal.
func difference(where string, one, other any) string {
	a, isObject := one.(map[string]any)
	b, alike := other.(map[string]any)
	if !isObject || !alike {
		if reflect.DeepEqual(one, other) {
			return ""
		}
		return where
	}
	for _, pair := range [][2]map[string]any{{a, b}, {b, a}} {
		for name := range pair[0] {
			if _, there := pair[1][name]; !there {
				return where + "." + shown(name)
			}
		}
	}
	for name := range a {
		if found := difference(where+"."+shown(name), a[name], b[name]); found != "" {
			return found
		}
	}
	return ""
}

// shown is a text of somebody else as it may stand in a message: short, and without controls.
func shown(text string) string {
	if len(text) > 100 {
		text = text[:100] + "..."
	}
	quoted := fmt.Sprintf("%+q", text)
	return quoted[1 : len(quoted)-1]
}
