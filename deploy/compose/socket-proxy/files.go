package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// The files that the executor puts into /run/nexthos before a start.
var fileNames = []string{"nats.creds", "store.creds"}

// repacked reads a tar, and returns a new one with the same files: plain ones with these names, which their
// user alone may read. No link, no device, no owner root gets through.
func repacked(body []byte) ([]byte, error) {
	reader := tar.NewReader(bytes.NewReader(body))
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the body is no tar: %w", err)
		}
		if err := copyFile(writer, reader, header); err != nil {
			return nil, err
		}
	}
	if buffer.Len() == 0 {
		return nil, errors.New("the tar is empty")
	}
	return buffer.Bytes(), writer.Close()
}

func copyFile(to *tar.Writer, from *tar.Reader, header *tar.Header) error {
	if header.Typeflag != tar.TypeReg || !slices.Contains(fileNames, header.Name) {
		return fmt.Errorf("the tar: %s is no file of an execution", shown(header.Name))
	}
	if header.Mode != 0o600 || !isOwner(header.Uid) || !isOwner(header.Gid) {
		return fmt.Errorf("the tar: %s must have mode 0600 and an owner other than root", header.Name)
	}
	content, err := io.ReadAll(io.LimitReader(from, mostBody)) // a sparse file may claim any size
	if err != nil {
		return fmt.Errorf("the body is no tar: %w", err)
	}
	plain := &tar.Header{
		Typeflag: tar.TypeReg, Name: header.Name, Size: int64(len(content)), Mode: 0o600,
		Uid: header.Uid, Gid: header.Gid, ModTime: header.ModTime, Format: tar.FormatUSTAR,
	}
	if err := to.WriteHeader(plain); err != nil {
		return fmt.Errorf("the tar: %w", err)
	}
	_, err = to.Write(content)
	return err
}

func isOwner(id int) bool { return id > 0 && id < 1<<31 }
